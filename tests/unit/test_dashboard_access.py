"""Who reaches the dashboard: host names, pages of other origins, and paths of a proxy."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from antiphon.dashboard.access import Access


async def place(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.scope['root_path']} {request.path_params['name']}")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("open")


def client(host: str = "127.0.0.1", allowed: tuple[str, ...] = (), root_path: str = "") -> TestClient:
    inner = Starlette(routes=[Route("/run/{name}", place), WebSocketRoute("/socket", echo)])
    app = Starlette(routes=[Mount("/", inner)])
    return TestClient(Access(app, host, allowed, root_path), base_url="http://127.0.0.1:8026")


@pytest.mark.parametrize("name", ["localhost:8026", "127.0.0.1", "[::1]:8026", "LOCALHOST"])
def test_loopback_names_are_answered(name):
    assert client().get("/run/a", headers={"host": name}).status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example:8026", "localhost.evil.example", "trainer"])
def test_names_of_others_are_refused_with_the_option_that_allows_them(name):
    answer = client().get("/run/a", headers={"host": name})
    assert answer.status_code == 403
    assert "--allow-host" in answer.text


@pytest.mark.parametrize(
    ("allowed", "name", "status"),
    [
        (("lab.example.com",), "Lab.Example.com:443", 200),
        (("*.example.com",), "gpu7.example.com", 200),
        (("*.example.com",), "example.com.evil.org", 403),
        (("lab.example.com",), "other.example.com", 403),
    ],
)
def test_names_are_allowed_one_by_one_or_below_a_domain(allowed, name, status):
    assert client(allowed=allowed).get("/run/a", headers={"host": name}).status_code == status


@pytest.mark.parametrize(("name", "status"), [("192.168.1.7:8026", 200), ("[fe80::1]", 200), ("evil.example", 403)])
def test_other_machines_reach_an_open_dashboard_by_address(name, status):
    assert client(host="0.0.0.0").get("/run/a", headers={"host": name}).status_code == status


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "https://[", ""])
def test_a_page_of_another_origin_is_refused(origin):
    headers = {"origin": origin}
    assert client().get("/run/a", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), client().websocket_connect("/socket", headers=headers):
        pass


def test_its_own_pages_and_those_of_an_allowed_proxy_are_not():
    for app, origin in ((client(), "http://127.0.0.1:8026"), (client(allowed=("lab.example",)), "https://lab.example")):
        headers = {"origin": origin, "host": "127.0.0.1:8026"}
        assert app.get("/run/a", headers=headers).status_code == 200
        with app.websocket_connect("/socket", headers=headers) as socket:
            assert socket.receive_text() == "open"


@pytest.mark.parametrize("path", ["/lab/run/a", "/run/a"], ids=["kept", "removed"])
@pytest.mark.parametrize("root_path", ["/lab", "lab/"])
def test_a_proxy_may_remove_its_path_or_keep_it(path, root_path):
    assert client(root_path=root_path).get(path).text == "/lab a"


def test_a_proxy_may_name_its_path_in_a_header():
    assert client().get("/run/a", headers={"x-forwarded-prefix": "/lab/x/"}).text == "/lab/x a"
    for odd in ('/"><script>', "lab", "//"):
        assert client().get("/run/a", headers={"x-forwarded-prefix": odd}).text == " a"


def test_no_other_site_may_show_it_in_a_frame():
    assert client().get("/run/a").headers["content-security-policy"] == "frame-ancestors 'self'"
