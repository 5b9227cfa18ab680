#include "shard/base/planted.h"

#ifdef MOON_TEST

#include <string.h>

#include "shard/base/assert.h"

uint32_t plant_bits;

static const struct {
    const char *word, *text;
} plants[] = {
#define PLANT_ROW(name, word, what) [PLANT_##name] = {word, what},
    PLANTS(PLANT_ROW)
#undef PLANT_ROW
};
static_assert(PLANT_COUNT <= 32, "a bit each");

void plant(enum plant what)
{
    plant_bits |= 1u << what;
}

void plant_nothing(void)
{
    plant_bits = 0;
}

static bool plant_word(const char *word, size_t len)
{
    for (uint32_t i = 0; i < PLANT_COUNT; i++) {
        if (strlen(plants[i].word) != len || memcmp(plants[i].word, word, len) != 0) continue;
        plant((enum plant)i);
        return true;
    }
    return false;
}

bool plant_words(const char *words)
{
    while (true) {
        size_t len = strcspn(words, ",");
        if (!plant_word(words, len)) return false;
        if (words[len] == 0) return true;
        words += len + 1;
    }
}

const char *plant_text(enum plant what)
{
    return plants[what].text;
}

#endif
