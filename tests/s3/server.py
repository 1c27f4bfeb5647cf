"""A real S3 server on loopback in one process: OpenStack Swift with its s3api, all from PyPI wheels.

    .venv-s3/bin/python -W ignore tests/s3/server.py FOLDER PORT

Prints `ready` and serves until its standard input closes, so that it never outlives the tests that started it.
Access key `test:key`, secret `secret`, may do everything; the other keys of USERS may do what they are granted by
`POST /grant/<bucket>`, with lists of keys in X-Container-Read and X-Container-Write. FOLDER needs a file system with
user extended attributes.
"""

import eventlet

eventlet.monkey_patch()  # before anything else is imported

import sys
from pathlib import Path

import eventlet.tpool
import eventlet.wsgi
import swift.common.storage_policy as policies
import swift.common.utils as utils
from swift.account.server import app_factory as account
from swift.common.ring import RingBuilder
from swift.common.wsgi import SwiftHttpProtocol, loadapp, make_pre_authed_request
from swift.container.server import app_factory as container
from swift.obj.server import app_factory as objects

HASHES = "[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n"
POLICY = "[storage-policy:0]\nname = one\ndefault = yes\n"
USERS = "user_test_key = secret .admin\nuser_test_reader = Hush-reader\nuser_test_scorer = Hush-scorer"
ACCESS_LISTS = ("X-Container-Read", "X-Container-Write")
FILTERS = {
    "catch_errors": "egg:swift#catch_errors",
    "gatekeeper": "egg:swift#gatekeeper",
    "cache": "egg:swift#memcache",
    "listing_formats": "egg:swift#listing_formats",
    "bulk": "egg:swift#bulk",
    "s3api": "egg:swift#s3api\ns3_acl = false\nlocation = us-east-1\ncheck_bucket_owner = false",
    "tempauth": f"egg:swift#tempauth\n{USERS}",
    "slo": "egg:swift#slo",
    "dlo": "egg:swift#dlo",
    "versioned_writes": "egg:swift#versioned_writes\nallow_object_versioning = true",
    "symlink": "egg:swift#symlink",
}


class Silent:
    """A log that keeps nothing."""

    def write(self, *_):
        pass

    flush = debug = info = warning = error = write


def configure(folder: Path) -> None:
    """Point Swift, which reads /etc/swift, at a folder of ours."""
    path = folder / "swift.conf"
    path.write_text(HASHES + POLICY)
    for name, module in list(sys.modules.items()):
        if name.startswith("swift") and hasattr(module, "SWIFT_CONF_FILE"):
            module.SWIFT_CONF_FILE = str(path)
    policies.reload_storage_policies()
    utils.validate_configuration()


def serve(socket, app) -> None:
    eventlet.wsgi.server(socket, app, Silent(), protocol=SwiftHttpProtocol, debug=False)


def start_storage(folder: Path) -> None:
    """Start the three servers behind the proxy, each with a ring of one device."""
    (folder / "devices" / "d1" / "tmp").mkdir(parents=True)
    for name, factory in (("account", account), ("container", container), ("object", objects)):
        socket = eventlet.listen(("127.0.0.1", 0))
        port = socket.getsockname()[1]
        place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
        builder = RingBuilder(4, 1, 1)
        builder.add_dev({"region": 1, "zone": 1, "weight": 1, "device": "d1", **place})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))
        options = {"mount_check": "false", "disable_fallocate": "true", "fallocate_reserve": "0"}
        options |= {"devices": str(folder / "devices"), "swift_dir": str(folder), "bind_ip": "127.0.0.1"}
        eventlet.spawn(serve, socket, factory({**options, "bind_port": port}))


def proxy(folder: Path, port: int):
    """Return the application that speaks S3."""
    lines = [f"[DEFAULT]\nswift_dir = {folder}\nbind_ip = 127.0.0.1\nbind_port = {port}"]
    lines.append(f"[pipeline:main]\npipeline = {' '.join(FILTERS)} proxy-server")
    lines.append("[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true")
    lines += [f"[filter:{name}]\nuse = {use}" for name, use in FILTERS.items()]
    path = folder / "proxy-server.conf"
    path.write_text("\n".join(lines) + "\n")
    return loadapp(str(path))


def with_grants(app):
    """Return the application with a door for the tests: Swift's own needs tokens, and those a memcached."""

    def answer(environ, start_response):
        place, _, bucket = environ["PATH_INFO"].lstrip("/").partition("/")
        if place != "grant":
            return app(environ, start_response)
        lists = {name: environ[f"HTTP_{name.upper().replace('-', '_')}"] for name in ACCESS_LISTS}
        request = make_pre_authed_request(environ, "POST", f"/v1/AUTH_test/{bucket}", headers=lists)
        request.environ["swift_owner"] = True  # or the lists would be left out
        return request.get_response(app)(environ, start_response)

    return answer


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    configure(folder)
    start_storage(folder)
    app = with_grants(proxy(folder, port))
    socket = eventlet.listen(("127.0.0.1", port))
    eventlet.spawn(serve, socket, app)
    print("ready", flush=True)
    eventlet.tpool.execute(sys.stdin.read)


if __name__ == "__main__":
    main()
