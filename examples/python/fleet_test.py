"""What the fleet's examples do by themselves: python fleet_test.py"""

import base64
import json
import pathlib
import tempfile
import time
import unittest

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from licence_check import licensed
from this_device import Counter, Device, fact_hash, request_digest

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "vectors" / "signed-requests.json"
PRODUCT, SERIAL, PEPPER = "abcdefghijklmnopqrst", "S1", "5e" * 32


class OfTheClock:
    """A clock that a test has set."""

    def __init__(self, seconds):
        self.seconds = seconds

    def now(self):
        return self.seconds


class Requests(unittest.TestCase):
    def setUp(self):
        self.directory = self.enterContext(tempfile.TemporaryDirectory())

    def device(self, **more):
        device = Device(self.directory, PRODUCT, SERIAL, **more)
        self.addCleanup(device.close)
        return device

    def test_vectors(self):
        vectors = json.loads(VECTORS.read_text())
        key = bytes.fromhex(vectors["device_key"])
        for one in vectors["requests"]:
            body = one["body"].encode()
            self.assertEqual(request_digest(one["method"], one["target"], body), one["req"])
            options = {"verify_exp": False, "verify_iat": False}
            claims = jwt.decode(one["token"], key, ["HS256"], audience=vectors["claims"]["aud"], options=options)
            self.assertEqual(claims, {**vectors["claims"], "ctr": one["ctr"], "req": one["req"]})

    def test_a_request_is_signed_as_it_is_sent(self):
        device = self.device()
        asked = requests.Request("POST", "https://host/a b?unit=°C&x=%20", json={"a": 1}, auth=device).prepare()
        token = asked.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, device.key.public_key(), ["EdDSA"], audience="https://host")
        self.assertEqual(claims["product_id"], PRODUCT)
        self.assertEqual(asked.path_url, "/a%20b?unit=%C2%B0C&x=%20")
        self.assertEqual(claims["req"], request_digest("POST", asked.path_url, asked.body))
        self.assertEqual(jwt.get_unverified_header(token), {"alg": "EdDSA", "typ": "JWT"})
        self.assertLessEqual(claims["exp"] - claims["iat"], 300)

    def test_the_key_is_made_once_and_nobody_else_reads_it(self):
        first = Device(self.directory, PRODUCT, SERIAL)
        public = first.key.public_key()
        with self.assertRaises(BlockingIOError):
            Device(self.directory, PRODUCT, SERIAL)
        first.close()
        self.assertEqual(self.device().key.public_key(), public)
        for file in pathlib.Path(self.directory).iterdir():
            self.assertEqual(file.stat().st_mode & 0o777, 0o600, file)

    def test_no_number_comes_twice(self):
        path = pathlib.Path(self.directory) / "counter"
        seen = []
        for _ in range(3):
            # Never closed, as if the power had failed.
            counter = Counter(str(path), OfTheClock(0))
            seen += [counter.take() for _ in range(counter.RUN + 1)]
        self.assertEqual(seen, sorted(set(seen)))
        self.assertGreater(seen[0], 0)
        # Where the file is lost, the clock is ahead of it.
        path.unlink()
        self.assertGreater(Counter(str(path), OfTheClock(time.time())).take(), max(seen))

    def test_a_fact_is_trimmed_and_hidden(self):
        fact = fact_hash(PEPPER, "cpu_serial", "10000000ABCDEF01\0\n")
        self.assertEqual(fact, fact_hash(PEPPER, "cpu_serial", "10000000abcdef01"))
        self.assertNotEqual(fact, fact_hash(PEPPER, "sd_card", "10000000abcdef01"))
        self.assertEqual(len(fact), 32)


class Licence(unittest.TestCase):
    def setUp(self):
        self.board = self.enterContext(tempfile.NamedTemporaryFile())
        self.board.write(b"10000000abcdef01\0")
        self.board.flush()
        self.private = Ed25519PrivateKey.generate()
        self.key = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        fact = fact_hash(PEPPER, "cpu_serial", "10000000abcdef01")
        end = int(time.time()) + 3600
        self.claims = {"iss": "firstwake", "sub": SERIAL, "aud": PRODUCT, "exp": end, "hw": {"cpu_serial": fact}}

    def check(self, key=None, algorithm="EdDSA", **other):
        token = jwt.encode({**self.claims, **other}, key or self.private, algorithm)
        return licensed(PRODUCT, PEPPER, self.key, token, self.board.name)

    def test_this_board(self):
        self.assertEqual(self.check(), SERIAL)
        several = ["00" * 16, self.claims["hw"]["cpu_serial"]]
        self.assertEqual(self.check(hw={"cpu_serial": several}), SERIAL)

    def test_another_board(self):
        for hw in ({}, {"cpu_serial": []}, {"cpu_serial": "00" * 16}, {"mac": self.claims["hw"]["cpu_serial"]}):
            with self.assertRaises(PermissionError):
                self.check(hw=hw)

    def test_what_is_no_licence(self):
        wrong = [
            {"exp": int(time.time()) - 3600},
            {"exp": None},
            {"aud": "another"},
            {"iss": "somebody"},
            {"key": Ed25519PrivateKey.generate()},
            {"key": "x" * 32, "algorithm": "HS256"},
        ]
        for one in wrong:
            with self.subTest(one), self.assertRaises(jwt.InvalidTokenError):
                self.check(**one)
        # Who signs nothing says so in the header.
        _, body, _ = jwt.encode(self.claims, self.private, "EdDSA").split(".")
        for algorithm in ("none", "HS256"):
            head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).rstrip(b"=").decode()
            with self.subTest(algorithm), self.assertRaises(jwt.InvalidTokenError):
                licensed(PRODUCT, PEPPER, self.key, f"{head}.{body}.", self.board.name)


if __name__ == "__main__":
    unittest.main()
