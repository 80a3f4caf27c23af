"""Why a version predicted what it did: the contribution of each input to the score of a row."""
