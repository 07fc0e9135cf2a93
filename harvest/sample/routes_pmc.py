"""PubMed Central as it answers: E-utilities with history, the open-access bucket, the ID converter."""

from __future__ import annotations

import hashlib
import re
from xml.sax.saxutils import escape

from harvest.sample.entrez import search
from harvest.sample.replies import JSON, XML, Reply, Request, as_json, not_found, page, ranged
from harvest.sample.store import Row, Store

WEBENV = "MCID_6a9fbe6de7945a8899092570"
DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE eSearchResult PUBLIC "-//NLM//DTD esearch 20060628//EN" '
    '"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20060628/esearch.dtd">\n'
)
S3 = "http://s3.amazonaws.com/doc/2006-03-01/"


class Entrez:
    """E-utilities with a history: the WebEnv of a search can be used by later calls."""

    def __init__(self, store: Store, longest: int = 8000) -> None:
        self.store, self.longest = store, longest
        self.history: list[list[Row]] = []

    def reply(self, request: Request) -> Reply:
        if len(request.raw) > self.longest:
            return page(
                "<html><head><title>Submitted URI too large!</title></head><body><h2>Error 414</h2></body></html>", 414
            )
        tool = request.path.rsplit("/", 1)[-1]
        routes = {"esearch.fcgi": self._search, "esummary.fcgi": self._summary, "efetch.fcgi": self._fetch}
        if tool not in routes:
            return not_found(tool)
        reply = routes[tool](request)
        limit = 10 if request.query.get("api_key") else 3
        reply.headers |= {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(limit - 1), "ncbi-sid": "DRAWN"}
        return reply

    def _search(self, request: Request) -> Reply:
        query = request.query
        rows, missing = search(query.get("term", ""), self.store.articles)
        if query.get("datetype") and query.get("mindate") and query.get("maxdate"):
            low, high = (_whole_day(query[k], k) for k in ("mindate", "maxdate"))
            rows = [r for r in rows if low <= r["date"] <= high]
        start, count = int(query.get("retstart", 0)), min(int(query.get("retmax", 20)), 10000)
        as_text = query.get("retmode", "xml") != "json"
        if start > 9998:
            words = "Search Backend failed: Exception:\n'retstart' cannot be larger than 9998."
            return as_json({"header": {"type": "esearch", "version": "0.3"}, "esearchresult": {"ERROR": words}})
        ids = [r["pmcid"][3:] for r in rows[start : start + count]]
        key = ""
        if query.get("usehistory") == "y":
            self.history.append(rows)
            key = str(len(self.history))
        if as_text:
            return Reply(_search_xml(query.get("term", ""), rows, ids, count, start, key, missing).encode(), 200, XML)
        result: dict[str, object] = {"count": str(len(rows)), "retmax": str(len(ids)), "retstart": str(start)}
        if key:
            result |= {"querykey": key, "webenv": WEBENV}
        result |= {"idlist": ids, "translationset": [], "querytranslation": query.get("term", "")}
        if missing and not rows:
            result["errorlist"] = {"phrasesnotfound": missing, "fieldsnotfound": []}
            result["warninglist"] = {"outputmessages": ["No items found."]}
        return as_json({"header": {"type": "esearch", "version": "0.3"}, "esearchresult": result})

    def _chosen(self, query: dict[str, str]) -> list[Row]:
        if query.get("query_key") and query.get("WebEnv") == WEBENV:
            rows = self.history[int(query["query_key"]) - 1]
            start = int(query.get("retstart", 0))
            return rows[start : start + int(query.get("retmax", 10000))]
        wanted = [i.strip().removeprefix("PMC") for i in query.get("id", "").split(",")]
        by_id = {r["pmcid"][3:]: r for r in self.store.articles}
        return [by_id[i] for i in wanted if i in by_id]

    def _summary(self, request: Request) -> Reply:
        result: dict[str, object] = {"uids": []}
        uids = []
        for row in self._chosen(request.query):
            uid = row["pmcid"][3:]
            uids.append(uid)
            result[uid] = {
                "uid": uid,
                "pubdate": str(row["year"]),
                "epubdate": row["date"].replace("/", " "),
                "printpubdate": "",
                "source": row["journal"],
                "authors": [{"name": "Meyer A", "authtype": "Author"}],
                "title": row["title"],
                "volume": "1",
                "issue": "",
                "pages": "",
                "articleids": [
                    {"idtype": "doi", "value": row["doi"]},
                    {"idtype": "pmcid", "value": row["pmcid"]},
                ],
                "fulljournalname": row["journal"],
                "sortdate": f"{row['date']} 00:00",
                "pmclivedate": row["date"],
            }
        result["uids"] = uids
        if request.query.get("retmode", "xml") != "json":
            return Reply(_summary_xml(uids, result).encode(), 200, XML)
        return as_json({"header": {"type": "esummary", "version": "0.3"}, "result": result})

    def _fetch(self, request: Request) -> Reply:
        bodies = []
        for row in self._chosen(request.query):
            xml = article_xml(self.store, row["pmcid"])
            body = re.sub(r"^<\?xml[^>]*>\s*<!DOCTYPE[^>]*>\s*", "", xml.decode()) if xml else ""
            if not row["open_access"]:
                body = re.sub(r"<body>.*</body>", "", body, flags=re.DOTALL).replace("<?properties open_access?>", "")
                body = (
                    "<!--The publisher of this article does not allow downloading of the full text in XML form.-->"
                    + body
                )
            bodies.append(body)
        return Reply(
            (
                '<?xml version="1.0" ?>\n<!DOCTYPE pmc-articleset PUBLIC "-//NLM//DTD ARTICLE SET 2.0//EN" '
                '"https://dtd.nlm.nih.gov/ncbi/pmc/articleset/nlm-articleset-2.0.dtd">\n<pmc-articleset>'
                f"{''.join(bodies)}</pmc-articleset>"
            ).encode(),
            200,
            XML,
        )


def _whole_day(text: str, which: str) -> str:
    return text + {4: "/00/00" if which == "mindate" else "/99/99", 7: "/00" if which == "mindate" else "/99"}.get(
        len(text), ""
    )


def _search_xml(
    term: str, rows: list[Row], ids: list[str], count: int, start: int, key: str, missing: list[str]
) -> str:
    history = f"<QueryKey>{key}</QueryKey><WebEnv>{WEBENV}</WebEnv>" if key else ""
    errors = ""
    if missing and not rows:
        phrases = "".join(f"<PhraseNotFound>{escape(m)}</PhraseNotFound>" for m in missing)
        errors = (
            f"<ErrorList>{phrases}</ErrorList><WarningList><OutputMessage>No items found.</OutputMessage></WarningList>"
        )
    listed = "".join(f"<Id>{i}</Id>\n" for i in ids)
    listed = f"<IdList>\n{listed}</IdList>" if ids else "<IdList/>"
    return (
        f"{DOCTYPE}<eSearchResult><Count>{len(rows)}</Count><RetMax>{min(count, len(ids))}</RetMax>"
        f"<RetStart>{start}</RetStart>"
        f"{history}{listed}<TranslationSet/><QueryTranslation>{escape(term)}</QueryTranslation>{errors}</eSearchResult>"
    )


def _summary_xml(uids: list[str], result: dict[str, object]) -> str:
    """Version 2.0: one DocumentSummary a hit; only what is plain text in it."""
    bodies = []
    for uid in uids:
        row = result[uid]
        fields = row.items() if isinstance(row, dict) else ()
        inside = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in fields if isinstance(v, str) and k != "uid")
        bodies.append(f'<DocumentSummary uid="{uid}">{inside}</DocumentSummary>')
    return (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<eSummaryResult><DocumentSummarySet status="OK">'
        f"{''.join(bodies)}</DocumentSummarySet></eSummaryResult>"
    )


def newest(store: Store, pmcid: str) -> str:
    """``PMC….v`` of the highest version in the bucket, empty if there is none."""
    found = {int(k.split("/")[0].rsplit(".", 1)[1]) for k in store.bucket if k.startswith(f"{pmcid}.")}
    return f"{pmcid}.{max(found)}" if found else ""


def article_xml(store: Store, pmcid: str) -> bytes | None:
    base = newest(store, pmcid)
    path = store.bucket.get(f"{base}/{base}.xml")
    return path.read_bytes() if path else None


def bucket(request: Request, store: Store, page_keys: int) -> Reply:
    """The anonymous S3 bucket: ListObjectsV2 and objects with md5 ETags."""
    if request.path == "":
        return _list(request.query, store, page_keys)
    path = store.bucket.get(request.path)
    if path is None:
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not '
            f"exist.</Message><Key>{escape(request.path)}</Key></Error>"
        )
        return Reply(body.encode(), 404, "application/xml")
    data = path.read_bytes()
    kinds = {".xml": "application/xml", ".json": JSON, ".jpg": "image/jpeg", ".txt": "text/plain"}
    tag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    return ranged(data, kinds.get(path.suffix, "binary/octet-stream"), request.headers, tag)


def _list(query: dict[str, str], store: Store, page_keys: int) -> Reply:
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    most = min(int(query.get("max-keys", 1000)), page_keys)
    entries: list[str] = []
    for key in store.bucket:
        if key.startswith(prefix):
            rest = key[len(prefix) :]
            cut = rest.find(delimiter) if delimiter else -1
            entry = prefix + rest[: cut + 1] if cut >= 0 else key
            if not entries or entries[-1] != entry:
                entries.append(entry)
    start = int(query.get("continuation-token", "drawn-0").removeprefix("drawn-"))
    served = entries[start : start + most]
    more = start + most < len(entries)
    body = []
    for entry in served:
        if delimiter and entry.endswith(delimiter):
            body.append(f"<CommonPrefixes><Prefix>{entry}</Prefix></CommonPrefixes>")
        else:
            data = store.bucket[entry].read_bytes()
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            body.append(
                f"<Contents><Key>{escape(entry)}</Key><LastModified>2026-07-21T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{md5}&quot;</ETag><Size>{len(data)}</Size></Contents>"
            )
    token = f"<NextContinuationToken>drawn-{start + most}</NextContinuationToken>" if more else ""
    mark = f"<Delimiter>{delimiter}</Delimiter>" if delimiter else ""
    return Reply(
        (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{S3}"><Name>pmc-oa-opendata</Name>'
            f"<Prefix>{escape(prefix)}</Prefix>{token}<KeyCount>{len(served)}</KeyCount><MaxKeys>{most}</MaxKeys>{mark}"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{''.join(body)}</ListBucketResult>"
        ).encode(),
        200,
        "application/xml",
    )


def idconv(request: Request, store: Store) -> Reply:
    """The ID converter."""
    records = []
    for wanted in request.query.get("ids", "").split(","):
        for row in store.articles:
            pmid = str(int(row["pmcid"][3:]) + 20000000)
            if wanted in (row["pmcid"], row["doi"], pmid):
                records.append({"doi": row["doi"], "pmcid": row["pmcid"], "pmid": int(pmid), "requested-id": wanted})
    if not records:
        message = {"message": "All values of query param `ids` must be PubMed IDs.", "code": "invalid_pmids"}
        return as_json({"status": "error", "http_status": "400", "errors": [message]}, 400)
    return as_json({"status": "ok", "records": records})
