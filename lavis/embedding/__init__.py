"""Images and captions to features: each embedded once, for every split and metric that needs them."""
