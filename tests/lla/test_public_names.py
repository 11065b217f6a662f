"""`import lla; lla.<TAB>`: the public names in every shell, and nothing heavy loaded before."""

import subprocess
import sys
from pathlib import Path

import pytest

import lla

ROOT = Path(__file__).parents[2]
COMPLETERS = {
    "a plain prompt": """
import rlcompleter
found = rlcompleter.Completer({"lla": lla})
names = [found.complete("lla.", i) for i in range(200)]
""",
    "jedi, in the namespace": """
import jedi
names = [found.name for found in jedi.Interpreter("lla.", [{"lla": lla}]).complete()]
""",
    "jedi, in a file": """
import jedi
names = [found.name for found in jedi.Script("import lla\\nlla.").complete()]
""",
    "IPython": """
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.user_ns["lla"] = lla
with provisionalcompleter():
    names = [found.text for found in shell.Completer.completions("lla.", 4)]
""",
    "IPython without jedi": """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.user_ns["lla"] = lla
shell.Completer.use_jedi = False
names = shell.Completer.complete("lla.")[1]
""",
}


@pytest.mark.parametrize("shell", COMPLETERS)
def test_tab_completes_the_public_names(shell, tmp_path):
    code = f"""
import sys, lla
print(*{{"numba", "numpy", "pandas", "scipy", "torch"}} & set(sys.modules))
{COMPLETERS[shell]}
print(*(name.removeprefix("lla.").lstrip(".").rstrip("()") for name in names if name))
"""
    environment = {"IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    heavy, names = done.stdout.splitlines()
    assert heavy == "", "loaded by `import lla` alone"
    assert set(lla.__all__) <= set(names.split())
    assert "import_module" not in names


def test_every_public_name_is_there_and_a_wrong_one_is_named():
    for name in lla.__all__:
        assert getattr(lla, name).__module__.startswith("lla."), name
    assert set(lla.__all__) <= set(dir(lla))
    assert "TYPE_CHECKING" not in dir(lla)
    with pytest.raises(AttributeError, match="module 'lla' has no attribute 'fit_LDA'"):
        lla.fit_LDA  # noqa: B018
