"""headstart: from a pretrained model and your own labelled data to a model that you can trust and ship."""
