"""The models of a home: trained when needed, judged, registered, promoted and watched."""
