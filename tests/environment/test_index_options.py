from pathlib import Path

from neuropod_ope.environment.index_options import pip_config_files, read_index_options
from neuropod_ope.environment.redaction import redact, secrets_in

NO_FILES: list[Path] = []


def test_pips_variables_are_handed_to_uv(tmp_path: Path) -> None:
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


def test_what_the_user_told_uv_wins() -> None:
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


def test_pip_conf_is_read_the_install_section_and_variables_winning(tmp_path: Path) -> None:
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


def test_local_folders_that_do_not_exist_are_left_out(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text(
        f"[global]\nfind-links = {tmp_path}/no\nextra-index-url = file://{tmp_path}/no file://{tmp_path}\n"
    )
    assert read_index_options({}, [conf]).environ["UV_EXTRA_INDEX_URL"] == f"file://{tmp_path}"
    assert "UV_FIND_LINKS" not in read_index_options({}, [conf]).environ


def test_an_unreadable_pip_conf_is_passed_over(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text("index-url = https://bob:hunter2@host.example/\n")
    assert read_index_options({}, [conf]).environ == {}


def test_pips_configuration_can_be_switched_off_or_named(tmp_path: Path) -> None:
    assert pip_config_files({"PIP_CONFIG_FILE": "/dev/null", "HOME": "/home/x"}) == []
    named = pip_config_files({"PIP_CONFIG_FILE": str(tmp_path / "own"), "HOME": "/home/x"})
    assert named[-1] == tmp_path / "own"
    assert Path("/home/x/.config/pip/pip.conf") in named


def test_passwords_do_not_decide_what_an_environment_is() -> None:
    one = read_index_options({"PIP_INDEX_URL": "https://alice:first@host.example/simple"}, NO_FILES)
    two = read_index_options({"PIP_INDEX_URL": "https://bob:second@host.example/simple"}, NO_FILES)
    assert one.facts == two.facts != ()
    assert one.environ["UV_INDEX_URL"] == "https://alice:first@host.example/simple"


def test_credentials_are_taken_out_of_text() -> None:
    secrets = secrets_in(
        {"UV_INDEX_CORP_PASSWORD": "p4ss", "PIP_INDEX_URL": "https://tok-en@host.example/", "HOME": "/root"}
    )
    text = "GET https://a:b@other.example/x with p4ss, tok-en in /root"
    assert redact(text, secrets) == "GET https://***@other.example/x with ***, *** in /root"
