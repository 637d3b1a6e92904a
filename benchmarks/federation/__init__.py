"""What a federation costs: computed for networks and numbers of sites that cannot be tried on one machine."""
