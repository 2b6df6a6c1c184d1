"""The code against the shared vectors: python device_test.py"""

import json
import pathlib
import unittest

from device import activation_code

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "vectors" / "activation-codes.json"


class Code(unittest.TestCase):
    def test_vectors(self):
        vectors = json.loads(VECTORS.read_text())
        for one in vectors["match"]:
            self.assertEqual(activation_code(one["product_secret"], one["serial"]), one["activation_code"])
        for one in vectors["must_not_match"]:
            self.assertNotEqual(activation_code(one["product_secret"], one["serial"]), one["activation_code"])


if __name__ == "__main__":
    unittest.main()
