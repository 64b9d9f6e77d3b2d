"""What the pages show of the code is in the code."""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_model_that_is_shown_is_the_model_that_is_here():
    page = (ROOT / "docs" / "adding-a-model.md").read_text()
    shown = re.search(r"```python\n( *class LSGAN.*?)```", page, re.DOTALL)
    code = (ROOT / "lightning_gen" / "models" / "gans" / "lsgan.py").read_text()
    head, *methods = textwrap.dedent(shown[1]).rstrip().split("\n    def ")
    assert head.strip() in code
    assert len(methods) == 2
    for method in methods:
        assert method.rstrip() in code


def test_models_that_the_page_of_gans_names_exist():
    page = (ROOT / "docs" / "gans.md").read_text()
    from lightning_gen.models import gans

    for name in re.findall(r"`(\w*GAN(?:GP)?)`", page):
        assert hasattr(gans, name), name
