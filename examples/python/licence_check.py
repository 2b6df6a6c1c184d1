"""Whether this board may run the application: ten lines, without a network.

    python licence_check.py PRODUCT PEPPER KEY_FILE TOKEN_FILE

PRODUCT is the product's id, PEPPER its pepper (`firstwake product pepper`),
KEY_FILE has the server's key (`firstwake licence key`): these three belong into
the application, as constants. TOKEN_FILE has what the device was told
(`firstwake-device licence`). Exit status 0 if it may.
"""

import hashlib
import hmac
import pathlib
import sys

import jwt

FACT, WHERE = "cpu_serial", "/proc/device-tree/serial-number"


def licensed(product, pepper, key, token, where=WHERE):
    """The serial that the licence is for; an exception if there is none."""
    # Signed by the server, for this product, and not run out. No other
    # algorithm than the one that is named here will do.
    claims = jwt.decode(token, key, algorithms=["EdDSA"], issuer="firstwake", audience=product,
                        options={"require": ["exp", "sub", "aud", "iss"]}, leeway=60)  # fmt: skip
    # For this board: one of the hashes is what this board's fact comes to.
    value = pathlib.Path(where).read_text().strip(" \t\r\n\0").lower()
    message = b"firstwake fact v1\0" + FACT.encode() + b"\0" + value.encode()
    found = hmac.new(bytes.fromhex(pepper), message, hashlib.sha256).hexdigest()[:32]
    hashes = claims.get("hw", {}).get(FACT, [])
    if found not in ([hashes] if isinstance(hashes, str) else hashes):
        raise PermissionError("the licence is for another board")
    return claims["sub"]


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    key, token = (pathlib.Path(path).read_text(encoding="ascii").strip() for path in sys.argv[3:])
    try:
        print(licensed(*sys.argv[1:3], key, token))
    except (jwt.InvalidTokenError, PermissionError, OSError) as error:
        sys.exit(f"not licensed: {error}")
