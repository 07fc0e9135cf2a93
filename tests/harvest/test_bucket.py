"""The open-access bucket: versions as numbers, addresses with their MD5."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvest import bucket


def listing(*prefixes: str, token: str = "") -> bytes:
    body = "".join(f"<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>" for p in prefixes)
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{body}{more}</ListBucketResult>'.encode()


def test_the_newest_version_is_a_number_over_all_pages(service, session, answer):
    def route(ask):
        if ask.query.get("continuation-token") == "t":
            return answer(listing("PMC7.10/", "PMC70.99/"), type="application/xml")
        return answer(listing("PMC7.2/", "PMC7.9/", token="t"), type="application/xml")

    service.route = route
    assert bucket.newest(session, service.url, "PMC7") == "PMC7.10"
    assert service.asked[0].query == {"list-type": "2", "prefix": "PMC7.", "delimiter": "/"}
    service.route = lambda ask: answer(listing(), type="application/xml")
    assert bucket.newest(session, service.url, "PMC8") == ""


def test_objects_of_the_metadata():
    md5 = "99210445a56f3315af7e95797556bd6b"
    found = bucket.object_of("http://b", f"s3://pmc-oa-opendata/PMC1.1/a b.jpg?md5={md5}")
    assert found == bucket.Object("http://b/PMC1.1/a%20b.jpg", md5, "a b.jpg")
    assert bucket.object_of("http://b", None) is None and bucket.object_of("http://b", "...") is None
    assert bucket.object_of("http://b", "s3://x/../../etc/passwd") is None
    objects = [bucket.Object("", "", name) for name in ("g1.gif", "g1.jpg", "g10.jpg", "g1.jpg.txt", "G2.TIF")]
    assert bucket.picture(objects, "g1") == objects[1] and bucket.picture(objects, "g1.gif") == objects[1]
    assert bucket.picture(objects, "g2") == objects[4] and bucket.picture(objects, "g3") is None


@pytest.mark.real
def test_recorded_bucket_answers(real_data: Path, service, session, answer):
    folder = real_data / "recorded" / "pmc_cloud"
    for name, pmcid, expected in (
        ("list_none.xml", "PMC99999999999", ""),
        ("list_one.xml", "PMC12855588", "PMC12855588.1"),
        ("list_two_versions.xml", "PMC11370360", "PMC11370360.2"),
    ):
        service.route = lambda ask, name=name: answer((folder / name).read_bytes(), type="application/xml")
        assert bucket.newest(session, service.url, pmcid) == expected
    service.route = lambda ask: answer((folder / "metadata_PMC12855588.1_trimmed.json").read_bytes())
    metadata = bucket.metadata(session, service.url, "PMC12855588.1")
    found = bucket.object_of("http://b", metadata["xml_url"])
    assert found is not None and found.md5 == "99210445a56f3315af7e95797556bd6b"
