"""NGSI-LD subscriptions (clauses 5.8, 5.2.12): what they ask for, when they fire, what they tell, and its delivery."""
