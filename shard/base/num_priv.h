/* shard/base/num_priv.h: the digits of a double, for num.c. */
#ifndef MOON_BASE_NUM_PRIV_H
#define MOON_BASE_NUM_PRIV_H

#include <stddef.h>

#define NUM__DIGITS_MAX 18 /* 17 suffice for every double */

/* Digits d1..dn, no leading or needless trailing zero, with v = d1..dn * 10^power, that read back
 * as v. v must be finite and > 0. Returns n. */
size_t num__shortest(double v, char digits[NUM__DIGITS_MAX], int *power_out);

#endif
