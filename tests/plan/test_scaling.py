from __future__ import annotations

from astrosage.plan import fit, scaling
from astrosage.plan.accelerators import ACCELERATORS


def test_the_page_is_what_the_formulas_give() -> None:
    written = scaling.PAGE.read_text(encoding="utf-8")
    assert written == scaling.page(), "python -m astrosage.plan.scaling --write"


def test_every_size_of_the_8b_model_fits_and_the_smallest_of_the_70b_does_not() -> None:
    limit = ACCELERATORS["H100"].memory
    assert all(fit.fits(scaling.setup_for("llama-3.1-8b", n), limit) for n in scaling.GPUS)
    assert not fit.fits(scaling.setup_for("llama-3.1-70b", 8), limit)
    assert fit.fits(scaling.setup_for("llama-3.1-70b", 1024), limit)
