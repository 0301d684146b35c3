"""Tables of your own: every architecture of a space trained for real, in parallel, resumable after a kill."""

from renascent.building.builder import Built as Built
from renascent.building.builder import build as build
from renascent.building.plan import Plan as Plan
from renascent.building.plan import chosen as chosen
