#include "domain.h"

int pay(int amount_cents) {
    if (!is_payable(amount_cents))
        return -1;
    return amount_cents + tax(amount_cents);
}

/* tests */
int pay_is_sound(void) {
    return pay(100) == 119 && pay(0) == -1;
}
