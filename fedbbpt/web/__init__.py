"""How services on the web are asked: one policy for addresses, keys, proxies, certificates, time, size and retries.

`requests` (`fedbbpt.web.by_requests`) and `httpx2` (`fedbbpt.web.by_httpx2`) both follow it.
"""
