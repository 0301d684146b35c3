"""Tables of your own: every architecture of a space trained for real, in parallel, resumable after a kill."""

from renascent.bench.building.builder import Built as Built
from renascent.bench.building.builder import build as build
from renascent.bench.building.plan import Plan as Plan
from renascent.bench.building.plan import chosen as chosen
