"""junit.xml: a test case for each check, and one for whether the run is valid."""

import xml.etree.ElementTree as ElementTree

from bakeoff.measure.document import RunDocument
from bakeoff.measure.summary import stands
from reports import facts

_SUITE = "bakeoff"


def junit(document: RunDocument) -> bytes:
    """The XML. Whatever is not passed is a failure, also what is inconclusive or has no data."""
    checks = facts.checks(document)
    suite = ElementTree.Element("testsuite", name=_SUITE, timestamp=document.created_at)
    for check in checks:
        case = _case(suite, f"check {check.text}")
        if not check.passed:
            _failure(case, check.outcome, check.found)
    valid = _case(suite, "validity")
    if not stands(document):
        _failure(valid, "invalid", "no figure of the family stands")
    findings = "\n".join(
        f"{f.effect}: {f.rule}: {f.where}: {f.found}, allowed {f.allowed}; {f.advice}"
        for f in document.validity
    )
    if findings:
        ElementTree.SubElement(valid, "system-out").text = _printable(findings)
    suite.set("tests", str(len(checks) + 1))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    ElementTree.indent(suite)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _case(suite: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_SUITE, name=_printable(name))


def _failure(case: ElementTree.Element, kind: str, message: str) -> None:
    ElementTree.SubElement(
        case, "failure", type=_printable(kind), message=_printable(f"{kind}: {message}")
    )


def _printable(text: str) -> str:
    """Without the characters that XML 1.0 does not allow."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
