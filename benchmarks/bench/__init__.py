"""The benchmark: task × method × seed, each cell an ordinary run; a leaderboard of what the cells' folders say."""
