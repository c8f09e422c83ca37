#include "domain.h"

/* Whether an amount
   may be charged. */
int is_payable(int amount_cents) {
    return amount_cents > 0 && amount_cents <= MOST_CENTS; // both ends
}
