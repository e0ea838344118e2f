"""A world whose registry knows a provider, and people who sign on there."""

from __future__ import annotations

from typing import Any

from entrepot.authn.providers import HttpProviders
from entrepot.core.registry import Rules
from entrepot.core.sign_on_providers import ProviderChange, add_provider, change_provider
from entrepot.core.standing import AccountChange, change_account
from entrepot.metadata.accounts import AccountRow
from entrepot.ports.directory import Directory
from entrepot.ports.mail import Mail
from tests.support.asgi import Answer
from tests.support.browser import Browser, browser_at
from tests.support.provider import CLIENT, SECRET, LocalProvider
from tests.support.world import World

NAME = "idp"
START = f"/login/oidc/{NAME}"


class Signing:
    """One registry and one provider."""

    def __init__(
        self, *, is_private_allowed: bool = True, directory: Directory | None = None, mail: Mail | None = None
    ) -> None:
        self.provider = LocalProvider()
        self.world = World(rules=Rules(private_addresses=True), directory=directory, mail=mail)
        self.providers = HttpProviders(is_private_allowed=is_private_allowed)
        self.world.registry.trust.providers = self.providers
        self.add()

    def close(self) -> None:
        """Stop both."""
        self.world.run(self.providers.close())
        self.world.close()
        self.provider.__exit__()

    def add(self, name: str = NAME, **said: Any) -> None:
        """Let people sign on with the provider, under another name perhaps."""
        change = ProviderChange(client_id=CLIENT, client_secret=SECRET, **said)
        admin = self.world.caller("admin")
        self.world.run(add_provider(self.world.registry, admin, name, self.provider.url, change))

    def change(self, **said: Any) -> None:
        """Change the provider as an administrator does."""
        self.world.run(change_provider(self.world.registry, self.world.caller("admin"), NAME, ProviderChange(**said)))

    def change_account(self, user: str, **said: bool) -> AccountRow:
        """Change a user as an administrator does."""
        admin = self.world.caller("admin")
        return self.world.run(change_account(self.world.registry, admin, user, AccountChange(**said)))

    def browser(self) -> Browser:
        """A browser that has been nowhere."""
        return browser_at(self.world)

    def go(self, browser: Browser, start: str = START) -> str:
        """Leave for the provider, say yes there: the path that leads back."""
        answer = browser.get(start)
        assert answer.status == 303, answer
        return self.provider.authorize(answer["location"])

    def sign_on(self, browser: Browser, start: str = START) -> Answer:
        """The whole way."""
        return browser.get(self.go(browser, start))

    def refused(self, browser: Browser | None = None) -> str:
        """The text of the page of a sign-in that fails."""
        browser = browser or self.browser()
        answer = self.sign_on(browser)
        assert answer.status in {403, 404, 503}, answer
        assert "entrepot" not in browser.cookies
        return answer.body.decode()

    def teams(self, user: str) -> list[str]:
        """The teams that a user is in, with who put them there."""
        sql = (
            "select o.name || '/' || t.name || ' ' || m.source from team_member m join team t on t.id = m.team "
            "join account o on o.id = t.organisation join account a on a.id = m.account where a.name = $1 order by 1"
        )
        return [row[0] for row in self.world.rows(sql, user)]
