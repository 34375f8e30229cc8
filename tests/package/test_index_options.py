from pathlib import Path

import pytest

from neuropod_worker.package.index_options import pip_config_files, read_index_options
from neuropod_worker.package.redaction import redact, secrets_in, without_url_credentials

NO_FILES = ()


def test_pips_variables_are_handed_to_uv(tmp_path):
    options = read_index_options(
        {
            "PIP_INDEX_URL": "https://index.example/simple",
            "PIP_EXTRA_INDEX_URL": "https://one.example/simple https://two.example/simple",
            "PIP_FIND_LINKS": f"{tmp_path} https://wheels.example/",
            "PIP_CERT": "/etc/ca.pem",
            "PIP_TRUSTED_HOST": "index.example",
            "PIP_DEFAULT_TIMEOUT": "180",
        },
        NO_FILES,
    )
    assert options.environ == {
        "UV_INDEX_URL": "https://index.example/simple",
        "UV_EXTRA_INDEX_URL": "https://one.example/simple https://two.example/simple",
        "UV_FIND_LINKS": f"{tmp_path},https://wheels.example/",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_INSECURE_HOST": "index.example",
        "UV_HTTP_TIMEOUT": "180",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_what_the_user_told_uv_wins():
    options = read_index_options(
        {
            "PIP_INDEX_URL": "https://pip.example/simple",
            "UV_DEFAULT_INDEX": "https://uv.example/simple",
            "PIP_EXTRA_INDEX_URL": "https://pip.example/extra",
            "UV_INDEX": "https://uv.example/extra",
            "PIP_CERT": "/pip.pem",
            "SSL_CERT_FILE": "/own.pem",
        },
        NO_FILES,
    )
    assert options.environ == {}
    assert options.facts == (
        ("UV_DEFAULT_INDEX", "https://uv.example/simple"),
        ("UV_INDEX", "https://uv.example/extra"),
    )


def test_pip_conf_is_read_the_install_section_and_variables_winning(tmp_path):
    weak, strong = tmp_path / "weak.conf", tmp_path / "strong.conf"
    weak.write_text("[global]\nindex-url = https://weak.example/\nextra-index-url = https://kept.example/\n")
    strong.write_text(
        "[global]\nindex_url = https://strong.example/\nno-index = true\n"
        "[install]\nindex-url = https://install.example/\n"
    )
    options = read_index_options({}, [weak, strong, tmp_path / "absent.conf"])
    assert options.environ["UV_INDEX_URL"] == "https://install.example/"
    assert options.environ["UV_EXTRA_INDEX_URL"] == "https://kept.example/"
    assert options.no_index
    over = read_index_options({"PIP_INDEX_URL": "https://variable.example/"}, [weak, strong])
    assert over.environ["UV_INDEX_URL"] == "https://variable.example/"


def test_local_folders_that_do_not_exist_are_left_out(tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text(
        f"[global]\nfind-links = {tmp_path}/no\nextra-index-url = file://{tmp_path}/no file://{tmp_path}\n"
    )
    assert read_index_options({}, [conf]).environ["UV_EXTRA_INDEX_URL"] == f"file://{tmp_path}"
    assert "UV_FIND_LINKS" not in read_index_options({}, [conf]).environ


def test_an_unreadable_pip_conf_is_passed_over(tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text("index-url = https://bob:hunter2@host.example/\n")
    assert read_index_options({}, [conf]).environ == {}


def test_pips_configuration_can_be_switched_off_or_named(tmp_path):
    assert pip_config_files({"PIP_CONFIG_FILE": "/dev/null", "HOME": "/home/x"}) == []
    named = pip_config_files({"PIP_CONFIG_FILE": str(tmp_path / "own"), "HOME": "/home/x"})
    assert named[-1] == tmp_path / "own"
    assert Path("/home/x/.config/pip/pip.conf") in named


def test_passwords_do_not_decide_what_an_environment_is():
    one = read_index_options({"PIP_INDEX_URL": "https://alice:first@host.example/simple"}, NO_FILES)
    two = read_index_options({"PIP_INDEX_URL": "https://bob:second@host.example/simple"}, NO_FILES)
    assert one.facts == two.facts != ()
    assert one.environ["UV_INDEX_URL"] == "https://alice:first@host.example/simple"


def test_credentials_are_taken_out_of_text():
    secrets = secrets_in(
        {"UV_INDEX_CORP_PASSWORD": "p4ss", "PIP_INDEX_URL": "https://tok-en@host.example/", "HOME": "/root"}
    )
    text = "GET https://a:b@other.example/x with p4ss, tok-en in /root"
    assert redact(text, secrets) == "GET https://***@other.example/x with ***, *** in /root"


def test_a_password_may_contain_an_at_sign():
    text = "tried https://user:p@ss@host.example/x, mail me@home"
    assert without_url_credentials(text) == "tried https://***@host.example/x, mail me@home"


@pytest.mark.parametrize("url", ["https://a@host.example/simple", "https://a:b@host.example/simple"])
def test_a_short_user_name_does_not_mangle_the_text(url):
    secrets = secrets_in({"UV_INDEX_URL": url, "UV_INDEX_CORP_USERNAME": "bob", "UV_INDEX_CORP_PASSWORD": "x"})
    assert redact(f"bob: a bad package at {url}", secrets) == "bob: a bad package at https://***@host.example/..."


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("https://h.example/t0ken/simple", "https://h.example/..."),
        ("(https://H.example/t0ken/simple/six/)", "(https://H.example/.../six/)"),
        ("https://u:p@h.example/t0ken/simple/?key=s3cret", "https://***@h.example/.../?..."),
        ("`https://h.example/t0ken/six-1.0.whl`", "`https://h.example/.../six-1.0.whl`"),
        ("https://h.example/other", "https://h.example/other"),
        ("https://other.example/a/b?c", "https://other.example/a/b?c"),
    ],
)
def test_paths_and_queries_of_the_users_indexes_are_not_shown(said, shown):
    variables = {"UV_INDEX": "corp=https://bob:pass@h.example/t0ken/simple/?key=s3cret https://one.example/"}
    assert redact(f"tried {said} twice", secrets_in(variables)) == f"tried {shown} twice"


def test_paths_of_indexes_do_decide_what_an_environment_is():
    one, two = (read_index_options({"UV_INDEX_URL": f"https://h.example/{team}/simple"}, NO_FILES) for team in "ab")
    assert one.facts != two.facts


@pytest.mark.parametrize("url", ["http://usr:pw12@[bad/", "http://usr:pw/12@host.example/simple"])
def test_what_is_no_url_is_passed_on_and_not_shown(url):
    options = read_index_options({"PIP_FIND_LINKS": url, "PIP_INDEX_URL": url}, NO_FILES)
    assert options.environ["UV_INDEX_URL"] == options.environ["UV_FIND_LINKS"] == url
    shown = redact(f"{url} is no URL", options.secrets)
    assert "usr" not in shown
    assert "12" not in shown
