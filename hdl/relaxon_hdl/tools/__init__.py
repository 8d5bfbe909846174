"""Programs that the gateware needs: found, run and cached in one way."""
