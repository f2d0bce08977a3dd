"""What several tests share: small homes and landing folders, a broker, commands, a world outside."""
