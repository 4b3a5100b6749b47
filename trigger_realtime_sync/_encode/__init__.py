"""What is sent: payloads, options, keys and tokens as the server spells them. Pure."""
