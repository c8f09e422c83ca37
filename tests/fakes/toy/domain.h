#ifndef DOMAIN_H
#define DOMAIN_H

/* What an invoice may come to. */
#ifndef MOST_CENTS
#define MOST_CENTS 1000
#endif

int is_payable(int amount_cents);
int tax(int amount_cents);
int pay(int amount_cents);

#endif
