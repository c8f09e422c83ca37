#include <stdio.h>

#include "domain.h"

int main(void) {
    printf("%d\n", pay(100));
    return 0;
}
