"""The face of people: pages made on the server over the same verbs, without scripts, for any browser."""
