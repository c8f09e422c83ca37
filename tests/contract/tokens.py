"""Tokens by hand: good ones, and every way in which one can be bad."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from bakeoff.rig.tokens import Credentials

HEADER = {"alg": "HS256", "typ": "JWT"}
HOUR_S = 3600


def encoded(content: object) -> str:
    """A part of a token."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(credentials: Credentials, header: object, claims: object, digest: str = "sha256") -> str:
    """A token with any header and any claims, signed by HMAC."""
    text = f"{encoded(header)}.{encoded(claims)}"
    mac = hmac.new(credentials.secret.encode(), text.encode(), getattr(hashlib, digest)).digest()
    return f"{text}.{encoded(mac)}"


def claims_of(credentials: Credentials, account: str, **changed: object) -> dict[str, Any]:
    """Good claims, but for what is changed; None leaves one out."""
    claims: dict[str, object] = {
        "iss": credentials.issuer,
        "aud": credentials.audience,
        "exp": int(time.time()) + HOUR_S,
        "sub": account,
    }
    return {name: value for name, value in (claims | changed).items() if value is not None}


def bad_tokens(credentials: Credentials, account: str) -> Mapping[str, str]:
    """Tokens that have to be refused, by what is wrong with them."""
    now, good = int(time.time()), claims_of(credentials, account)

    def claims(**changed: object) -> str:
        return signed(credentials, HEADER, claims_of(credentials, account, **changed))

    def header(**changed: object) -> str:
        return signed(credentials, HEADER | changed, good)

    token = signed(credentials, HEADER, good)
    text, _, mac = token.rpartition(".")
    # The last character of 32 bytes has two bits that say nothing: other bits, same bytes.
    tail = mac[:-1] + chr(ord(mac[-1]) + 1)
    none = {
        f"alg {name}": f"{encoded({'alg': name})}.{encoded(good)}." for name in ("none", "nOnE")
    }
    exps = {"past": now - 1, "text": str(now + HOUR_S), "negative": -1, "array": [now + HOUR_S]}
    return {
        **none,
        "alg none, signed": header(alg="none"),
        "HS384": signed(credentials, HEADER | {"alg": "HS384"}, good, "sha384"),
        "HS512": signed(credentials, HEADER | {"alg": "HS512"}, good, "sha512"),
        "RS256 by HMAC": header(alg="RS256"),
        "ES256 of zeros": f"{encoded({'alg': 'ES256'})}.{encoded(good)}.{encoded(bytes(64))}",
        "alg in small letters": header(alg="hs256"),
        "alg a number": header(alg=1),
        "no alg": signed(credentials, {"typ": "JWT"}, good),
        "crit": header(crit=["x"], x=1),
        "no signature": f"{text}.",
        "two parts": text,
        "four parts": f"{token}.x",
        "dots": "." * 100_000,
        "signature of other bits": f"{text}.{tail}",
        "padding": f"{token}=",
        "standard alphabet": f"{text}.{mac[:-2]}+/",
        "white space in it": f"{text}. {mac}",
        "another secret": signed(Credentials("x" * 32, "bakeoff", "billing"), HEADER, good),
        "claims an array": signed(credentials, HEADER, [good]),
        "claims no JSON": signed(credentials, HEADER, b"{"),
        "header no JSON": signed(credentials, b"{", good),
        "exp absent": claims(exp=None),
        **{f"exp {name}": claims(exp=value) for name, value in exps.items()},
        "nbf future": claims(nbf=now + HOUR_S),
        "nbf text": claims(nbf=str(now)),
        "iss wrong": claims(iss="other"),
        "iss absent": claims(iss=None),
        "iss array": claims(iss=[credentials.issuer]),
        "aud wrong": claims(aud="other"),
        "aud absent": claims(aud=None),
        "aud array": claims(aud=[credentials.audience]),
        "sub absent": claims(sub=None),
        "sub number": claims(sub=1),
        "sub capitals": claims(sub=account.upper()),
        "sub no id": claims(sub="1 OR 1=1"),
        "sub array": claims(sub=[account]),
    }


def good_tokens(credentials: Credentials, account: str) -> Mapping[str, str]:
    """Tokens that have to be taken, however odd they look."""
    now, good = int(time.time()), claims_of(credentials, account)
    headers: dict[str, dict[str, object]] = {
        "kid": {"kid": "../../dev/null"},
        "kid of SQL": {"kid": "' OR 1=1 --"},
        "jwk": {"jwk": {"kty": "oct", "k": "eHh4"}},
        "jku": {"jku": "http://127.0.0.1:1/x"},
        "x5u": {"x5u": "http://127.0.0.1:1/x"},
    }
    return {
        **{name: signed(credentials, HEADER | more, good) for name, more in headers.items()},
        "no typ": signed(credentials, {"alg": "HS256"}, good),
        "exp a fraction": signed(
            credentials, HEADER, claims_of(credentials, account, exp=now + HOUR_S + 0.5)
        ),
        "nbf now": signed(credentials, HEADER, claims_of(credentials, account, nbf=now)),
        "other claims": signed(credentials, HEADER, good | {"iat": now, "admin": True}),
    }
