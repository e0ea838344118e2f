"""The table of commands."""

from __future__ import annotations

import os
import sys
from typing import Final

import cyclopts

from entrepot import __version__
from entrepot.cli.output import clean
from entrepot.client.errors import ClientError, sentence_of
from entrepot.domain.errors import EntrepotError
from entrepot.settings_sense import SettingsError

HELP: Final = """A self-hosted registry for container images and packages.

`entrepot serve` starts one. The commands below "Manage" talk to a server: the one of `--server`, of
`ENTREPOT_SERVER_URL`, or of the last `entrepot login`; most of them work on `--data DIR` as well.
"""
RUN: Final = cyclopts.Group("Run", sort_key=1)
MANAGE: Final = cyclopts.Group("Manage", sort_key=2)
LOG_IN: Final = cyclopts.Group("Log in", sort_key=3)
USAGE: Final = 2
INTERRUPTED: Final = 130

app = cyclopts.App(
    name="entrepot",
    help=HELP,
    version=__version__,
    # As Markdown, the stars of patterns would be emphasis, and not be seen.
    help_format="plaintext",
    default_parameter=cyclopts.Parameter(show_default=lambda value: str(value) if value else ""),
)

# Each is imported when it is called; the help stands here so that `entrepot --help` imports none of them.
for path, name, group, text in (
    ("serve:serve", "serve", RUN, "Serve the registry: HTTP workers and a job process, until SIGTERM."),
    ("worker:worker", "worker", RUN, "Run queued jobs until stopped; `serve` starts one by itself."),
    ("migrate:migrate", "migrate", RUN, "Bring the database up to date before a start does, or show what it lacks."),
    ("check:command", "check", RUN, "See that everything that is named is there, and mend it; safe beside a server."),
    ("config:app", "config", RUN, "Check and show the settings that a server here would have."),
    ("user:app", "user", MANAGE, "Make, list and remove users, and set passwords."),
    ("namespace:app", "namespace", MANAGE, "Make and change namespaces, and say who may do what in them."),
    ("grant:app", "grant", MANAGE, "Give, list and take away grants, with patterns, tags and conditions."),
    ("apply:apply", "apply", MANAGE, "Make grants and plans what a file says, after showing the difference."),
    ("apply:show", "policy", MANAGE, "Print the grants on a resource as a JSON policy document."),
    ("access:can_i", "can-i", MANAGE, "Say whether you, or somebody else, may do something, and why."),
    ("access:who_can", "who-can", MANAGE, "List everybody who may do something, and through what."),
    ("access:why", "why", MANAGE, "Explain a refusal by the id that came with it."),
    ("organisation:app", "organisation", MANAGE, "Make organisations, and say who is in them."),
    ("team:app", "team", MANAGE, "Make teams of an organisation, and say who is in them."),
    ("role:app", "role", MANAGE, "Make roles of your own beside the built-in ones."),
    ("plan:app", "plan", MANAGE, "Say how many images may be pulled, by whom, and see how many are left."),
    ("service:app", "service-account", MANAGE, "Make and change accounts of machines, and rotate their secrets."),
    ("token:app", "token", MANAGE, "Make, list and revoke personal tokens."),
    ("repository:app", "repository", MANAGE, "List repositories, and say who may see them."),
    ("tag:app", "tag", MANAGE, "List, move, delete and roll back tags, and show their history."),
    ("trash:app", "trash", MANAGE, "List what was deleted, and bring it back."),
    ("key:app", "key", MANAGE, "List the keys that tokens are signed by, and rotate or revoke them."),
    ("collect:collect", "collect", MANAGE, "Free what nothing keeps any more, or say what would be freed."),
    ("integrity:app", "integrity", MANAGE, "Show which blobs are damaged, and read all of them again."),
    ("jobs:app", "jobs", MANAGE, "List, count, show, cancel, retry and schedule the jobs of the registry."),
    ("team_group:app", "team-group", MANAGE, "Say which groups of the directory (LDAP) make members of a team."),
    ("audit:app", "audit", MANAGE, "Read the audit log, and see whether anybody has touched it."),
    ("issuer:app", "issuer", MANAGE, "Believe tokens of CI systems, Kubernetes and AWS, and say what they open."),
    ("sign_on:app", "sign-on", MANAGE, "Say with which OpenID Connect providers people sign on."),
    ("session:app", "session", MANAGE, "List the browsers that somebody is signed in with, and sign them out."),
    ("login:login", "login", LOG_IN, "Log in to a server, and use it where none is named."),
    ("login:logout", "logout", LOG_IN, "Forget the login of a server."),
    ("ci_login:ci_login", "ci-login", LOG_IN, "Exchange the token of a CI job for a login of docker and podman."),
    ("login:whoami", "whoami", LOG_IN, "Show who you are on the server."),
    ("people:register", "register", LOG_IN, "Ask for an account by mail, and make it with the code."),
    ("password:login_password", "login-password", LOG_IN, "Print a password for docker login that holds for 12 hours."),
):
    app.command(f"entrepot.cli.{path}", name=name, group=group, help=text)


def main() -> None:
    """Run the command line; errors that a user can act on are one line, never a traceback."""
    try:
        app(exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        _say(f"{error}".strip().replace("\n", " "))
        raise SystemExit(USAGE) from None
    except (SettingsError, EntrepotError, ClientError) as error:
        _say(sentence_of(error.message, error.detail) if isinstance(error, EntrepotError) else str(error))
        raise SystemExit(1) from None
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _say(text: str) -> None:
    print(f"entrepot: {clean(text)}", file=sys.stderr)
