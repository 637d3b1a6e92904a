"""A federation over a network: every site keeps its data, its model's keys and its limits in a place of its own.

The server's half of a run sends requests to the sites (`messages`) over a channel (`channel`); a site answers them.
NVFlare's processes carry them: `provisioning` makes a federation and its `kits`, `nodes` runs server and sites, `admin`
asks the server how it fares.
"""
