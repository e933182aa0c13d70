"""The store on Valkey: each change is one Lua script, so it is atomic and costs one round trip.

A script is safe to send again: reserve, commit, release, grant and count_call are keyed by the request
id, so a retry after a lost answer finds the first one's result and changes nothing more. Script objects
of redis-py load the text again after NOSCRIPT, so a restarted server goes unnoticed.

Time. In production the scripts read the server's own clock: replicas whose clocks differ then share one
rate limit, and a reservation ends at one moment. A test gives a `Clock`, whose time the scripts take
instead.

Keys. All that a request touches shares the hash tag `{account id}`. API keys stand apart under `mw:key:`,
and beside them what all accounts share: `mw:account-ids`, `mw:audit` and `mw:due`. A change by an
administrator writes an account or a key and the audit log in one step, so Valkey runs as one primary with
replicas, not as a cluster.

`mw:due` tells the sweeper which accounts to look at and when. It is only a hint, written before the
reservation that it is for: an entry too many costs one look, and one that a failover lost is made up for
by the account's next request, because every step on an account gives its overdue reservations back.
"""

from __future__ import annotations

from matteworks_auth.stores.valkey.keys import ValkeyKeys
from matteworks_auth.stores.valkey.requests import ValkeyRequests


class ValkeyAccountStore(ValkeyRequests, ValkeyKeys):
    """See `AccountStore`."""
