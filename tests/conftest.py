"""What all tests share: no deadline on hypothesis, whose clock says nothing on a shared machine."""

from hypothesis import settings

settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")
