"""One HTTP policy for every service: URLs, keys, proxies, certificates, limits of time and size, errors, retries.

`requests` (`fedbbpt.web.requests_adapter`) and `httpx2` (`fedbbpt.web.httpx2_transport`) both follow it.
"""
