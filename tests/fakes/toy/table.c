#include "domain.h"

int tax(int amount_cents) { return amount_cents * 19 / 100; }
