"""docker-compose.yml against the Compose Specification and against our own settings."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from csms.config import PREFIX, Settings, load

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "gateway", "web", "worker")
SETTINGS = {PREFIX + field.name.upper() for field in fields(Settings)} | {PREFIX + "CONFIG"}
DEFAULTS = Settings()
# Not settings of ours: what deploy/create-roles.sh gives the two roles.
PASSWORDS = {"T2P_OWNER_PASSWORD", "T2P_APP_PASSWORD"}


def test_the_file_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text(encoding="utf-8"))
    errors = list(jsonschema.Draft7Validator(schema).iter_errors(COMPOSE))
    assert [f"{list(error.path)}: {error.message}" for error in errors] == []


def test_every_part_of_the_product_is_there() -> None:
    assert set(SERVICES) == {"database", "mosquitto", *OURS}
    for part in ("gateway", "web", "worker"):
        assert SERVICES[part]["command"] == ["serve", "--only", part]
    assert SERVICES["migrate"]["command"] == ["migrate"]


def test_every_variable_is_a_setting() -> None:
    for name in OURS:
        for variable in SERVICES[name]["environment"]:
            assert variable in SETTINGS, f"{name}: {variable}"
    given = set(re.findall(r"\bT2P_[A-Z_]+", TEXT))
    given |= set(re.findall(r"\bT2P_[A-Z_]+", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
    assert given - PASSWORDS <= SETTINGS


@pytest.mark.parametrize("name", OURS)
def test_the_settings_can_be_read_as_they_stand(name: str, tmp_path: Path) -> None:
    environ = {
        variable: re.sub(
            r"\$\{\w+:([-?])([^}]*)\}",
            lambda found: found[2] if found[1] == "-" else "",
            str(value),
        )
        for variable, value in SERVICES[name]["environment"].items()
    }
    settings = load(environ, tmp_path)
    assert settings.database_url is not None and "t2p_app" in settings.database_url
    assert (settings.database_owner_url is not None) == (name == "migrate")
    assert settings.tls_cert == ()


def test_ports_are_those_of_the_settings() -> None:
    published = {
        (name, int(port.rsplit(":", 1)[1]))
        for name in SERVICES
        for port in SERVICES[name].get("ports", [])
    }
    assert published == {
        ("gateway", DEFAULTS.ocpp_port),
        ("gateway", DEFAULTS.ocpps_port),
        ("web", DEFAULTS.http_port),
    }
    assert SERVICES["web"]["ports"] == [f"127.0.0.1:{DEFAULTS.http_port}:{DEFAULTS.http_port}"]
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert exposed is not None
    assert set(map(int, exposed[1].split())) == {port for _, port in published}


def test_every_node_has_its_own_name() -> None:
    names = [SERVICES[name]["environment"]["T2P_NODE"] for name in ("gateway", "web", "worker")]
    assert len(set(names)) == 3


def test_only_the_migrating_process_may_change_tables() -> None:
    for name in ("gateway", "web", "worker"):
        assert "t2p_owner" not in json.dumps(SERVICES[name]), name
        assert SERVICES[name]["depends_on"]["migrate"] == {
            "condition": "service_completed_successfully"
        }


def test_no_secret_has_a_value_in_the_file() -> None:
    assert not re.search(r"://\w+:(?!\$\{)", TEXT), "a password stands in a URL"
    for variable, rest in re.findall(r"\$\{(\w+)([^}]*)\}", TEXT):
        if variable.endswith("PASSWORD"):
            assert rest.startswith(":?"), f"{variable} must be given, and has no default"
    example = (ROOT / "deploy" / "example.env").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == set(re.findall(r"^(\w+)=", example, re.M))
    for name in re.findall(r"^(\w+PASSWORD)=(.+)$", example, re.MULTILINE):
        raise AssertionError(f"{name} has a value")


def test_images_are_pinned_and_what_can_be_asked_is_watched() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":\d+\.\d+", service["image"]), f"{name}: {service['image']}"
        if name not in ("migrate", "worker"):
            assert service["healthcheck"]["test"], name
    assert {"database", "data"} == set(COMPOSE["volumes"])


def test_what_is_mounted_and_copied_is_in_the_repository() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./deploy/"):
                assert (ROOT / source).is_file(), source
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
