"""How nodes without a server converge on problems whose optimum is known, beside what is proved of them."""
