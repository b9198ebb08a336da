"""``tastemaker serve``: models of a folder over HTTP."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli.service.given_settings import take_settings

__all__ = ["serve"]

Models = Annotated[
    str,
    typer.Argument(
        metavar="MODELS",
        help="The folder that holds NAME/VERSION; one model's folder, or one version's, will do too. Or s3://BUCKET/MODELS.",
        show_default=False,
    ),
]
ModelsCache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where models of an object store are kept.", show_default=False),
]
ModelsEvery = Annotated[
    float, typer.Option(metavar="SECONDS", help="How often an object store is asked for new versions.")
]
Host = Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is every one.")]
Port = Annotated[int, typer.Option(help="The port; 0 takes any free one.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that answer; they share their memory.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each worker that rank.")]
Catalogue = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="A table of products, for rules and for the page; a file, or a URI as of `train`.",
        show_default=False,
    ),
]
CatalogueEvery = Annotated[
    float, typer.Option(metavar="SECONDS", help="How often a catalogue behind a URI is read again.")
]
IndexOption = Annotated[
    bool,
    typer.Option(
        "--approximate", help="Use the index of `tastemaker index` where a version has one; /api/v1 says so."
    ),
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        metavar="F", help="The API keys of `tastemaker key new`; each request needs one.", show_default=False
    ),
]
WithoutKeys = Annotated[
    bool,
    typer.Option(
        "--without-keys", "--insecure", help="Listen on an address that other machines reach, without keys."
    ),
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A name that requests may be sent to; repeatable.", show_default=False),
]
TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS", help="A proxy, or network of them, whose X-Forwarded-For is believed; repeatable.",
        show_default=False,
    ),
]  # fmt: skip
WithoutRules = Annotated[
    bool,
    typer.Option("--without-rules", help="Make lists without rules where a model's cannot be read at all."),
]
EventsFile = Annotated[
    Path | None,
    typer.Option(metavar="F.sqlite", help="Accept live purchases and keep them here.", show_default=False),
]
State = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Share purchases, rules, labels and keys with other hosts in this PostgreSQL database; --events is this host's copy.",
        show_default=False,
    ),
]
Explore = Annotated[
    float,
    typer.Option(
        metavar="CHANCE",
        help="Let each place of the API's lists show another product of the ranking with this chance, such as 0.02, and log it in "
        "--events (or --state); `tastemaker compare --off-policy` tells from it what another model would earn.",
    ),
]
Poll = Annotated[float, typer.Option(help="Seconds between two looks for new versions.")]
Keep = Annotated[int, typer.Option(min=1, help="Newest versions of a model that are loaded.")]
Rate = Annotated[float, typer.Option(help="Requests a second of one client, per worker; 0 sets no limit.")]
Burst = Annotated[int, typer.Option(min=1, help="Requests of one client at once, with --rate.")]
Timeout = Annotated[
    float, typer.Option(help="Seconds that a request may take to arrive, and then to be answered.")
]
MaxBody = Annotated[int, typer.Option(metavar="BYTES", help="Longest body of a request.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Log failures only, not each request.")]


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        metavar="F.toml",
        callback=take_settings,
        is_eager=True,
        help="Settings by the names of these flags; TASTEMAKER_SERVE_WORKERS=2 and so on count more, and flags most.",
        show_default=False,
    ),
]


# long: one line for each flag, and again for each setting
def serve(
    models: Models,
    models_cache: ModelsCache = None,
    models_every: ModelsEvery = 30.0,
    host: Host = "127.0.0.1",
    port: Port = 8501,
    workers: Workers = 1,
    threads: Threads = 1,
    catalogue: Catalogue = None,
    catalogue_every: CatalogueEvery = 60.0,
    approximate: IndexOption = False,
    keys: KeysFile = None,
    without_keys: WithoutKeys = False,
    allowed_host: AllowedHost = None,
    trusted_proxy: TrustedProxy = None,
    without_rules: WithoutRules = False,
    events: EventsFile = None,
    state: State = None,
    explore: Explore = 0.0,
    poll: Poll = 1.0,
    keep: Keep = 10,
    rate: Rate = 0.0,
    burst: Burst = 100,
    timeout: Timeout = 10.0,
    max_body: MaxBody = 1 << 20,
    quiet: Quiet = False,
    config: ConfigFile = None,
) -> None:
    """Serve every model of a folder over HTTP, until Ctrl-C or SIGTERM.

    New version folders are found, verified and taken into service while the server runs; `tastemaker promote` and
    `tastemaker rollback` say which version answers. The workshop's calls work unchanged:

        curl -d '{"signature_name": "call_item_item", "inputs": {"item": [123123]}}'
          http://localhost:8501/v1/models/recommender:predict

    Beside them: /api/v1 (see /docs), a page for people at /, /livez, /readyz and /metrics. Logs are JSON lines on stderr. To serve
    other machines, make keys (`tastemaker key new --keys FILE`), then give `--host 0.0.0.0 --keys FILE`.
    """
    from tastemaker.data.databases.address import is_address
    from tastemaker.serving.front.logs import log_in_json
    from tastemaker.serving.front.settings import Settings
    from tastemaker.serving.server import serve as run

    remote = catalogue is not None and is_address(catalogue)
    settings = Settings(
        models=Path("" if is_address(models) else models), models_address=models if is_address(models) else None,
        models_cache=models_cache, models_every=models_every, host=host, port=port, workers=workers, threads=threads,
        catalogue=None if catalogue is None or remote else Path(catalogue),
        catalogue_address=catalogue if remote else None, catalogue_every=catalogue_every,
        approximate=approximate, keys=keys, insecure=without_keys,
        allowed_hosts=tuple(allowed_host or ()), without_rules=without_rules, trusted_proxies=tuple(trusted_proxy or ()),
        events=events, state=state, explore=explore, poll_seconds=poll,
        keep_versions=keep, requests_per_second=rate, burst=burst, seconds=timeout, body_seconds=timeout,
        body_bytes=max_body, log_requests=not quiet,
    )  # fmt: skip
    if approximate:
        from tastemaker.ranking.index.approximate import faiss

        faiss()
    log_in_json()
    ending = run(settings, _announce)
    logging.getLogger("tastemaker.server").info("ended; %s", ending)


def _announce(address: str, served: list[str]) -> None:
    print(f"Serving {', '.join(served)} at {address}", flush=True)
