#include "domain.h"

int pay_is_sound(void);

int main(void) {
    return !(pay_is_sound() && !is_payable(0));
}
