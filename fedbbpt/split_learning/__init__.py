"""Split learning: a white-box model in three parts, of which a client holds the first and the last, a server the body.

Split learning (Gupta & Raskar 2018, arXiv 1810.06060) with a cut on either side of the body, so that images and labels
both stay with the client; between rounds the clients' parts are averaged, as in SplitFed (Thapa et al. 2022, arXiv
2004.12088). `sfprompt` is the method (SFPrompt, arXiv 2407.17533), `protocol` what a model has to offer for it, and
`transport` and `http_transport` carry activations and gradients between the parts. `fedbbpt.serve.split_body` is the
body as an HTTP service.
"""
