"""A real browser at the pages: Debian's Chromium, driven by Playwright; cookies are kept in a file between calls.

browser.py STATE BASE password NAME PASSWORD
browser.py STATE BASE oidc PROVIDER NAME
browser.py STATE BASE device CODE approve|deny
browser.py STATE BASE read PATH

Prints the text of the page that it ends at. Scripts are switched off: the pages need none.
"""

import pathlib
import re
import sys

from playwright.sync_api import Page, expect, sync_playwright


def password(page: Page, base: str, name: str, secret: str) -> None:
    """Sign in by the form."""
    page.goto(f"{base}/login")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(secret)
    page.get_by_role("button", name="Sign in").click()


def oidc(page: Page, base: str, provider: str, name: str) -> None:
    """Sign in with a provider, and agree there."""
    page.goto(f"{base}/login")
    page.get_by_role("link", name=f"Sign in with {provider}").click()
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any password does there")
    page.locator("button[type=submit]").click()
    expect(page).not_to_have_url(re.compile("signin"))
    # The provider asks whether this registry may know who it is.
    if not page.url.startswith(base):
        page.locator("button[type=submit]").click()
    page.wait_for_url(f"{base}/**")


def device(page: Page, base: str, code: str, answer: str) -> None:
    """Confirm a code, or refuse it."""
    page.goto(f"{base}/login/device?code={code}")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text(code)).to_be_visible()
    page.get_by_role("button", name="Yes" if answer == "approve" else "No").click()


def read(page: Page, base: str, path: str) -> None:
    """Open a page."""
    page.goto(base + path)


def main() -> None:
    """Do what the words say."""
    state, base, verb, *words = sys.argv[1:]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        kept = state if pathlib.Path(state).exists() else None
        context = browser.new_context(storage_state=kept, java_script_enabled=False)
        page = context.new_page()
        page.set_default_timeout(20_000)
        {"password": password, "oidc": oidc, "device": device, "read": read}[verb](page, base, *words)
        page.wait_for_load_state()
        print(page.locator("body").inner_text())
        context.storage_state(path=state)
        browser.close()


main()
