"""How services on the web are asked: one policy for addresses, keys, proxies, certificates, time, size and retries.

`requests` (`fedbbpt.web.requests_adapter`) and `httpx2` (`fedbbpt.web.httpx2_transport`) both follow it.
"""
