"""Whether what arrives is still like what the champion was trained on."""
