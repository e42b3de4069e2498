#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tally/table.h"
#include "tally/words.h"

static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

int main(void)
{
    struct table table = {0};
    table_add(&table, "b");
    table_add(&table, "a");
    table_add(&table, "c");
    table_add(&table, "c");
    CHECK(table_count(&table, "c") == 2);
    CHECK(table_count(&table, "d") == 0);

    struct entry **ranked = table_ranked(&table);
    CHECK(!strcmp(ranked[0]->word, "c"));
    CHECK(!strcmp(ranked[1]->word, "a"));
    CHECK(!strcmp(ranked[2]->word, "b"));
    free(ranked);
    table_free(&table);
    CHECK(table_count(&table, "c") == 0);

    char word[LONGEST_WORD];
    FILE *file = tmpfile();
    fputs("One, two", file);
    rewind(file);
    CHECK(next_word(file, word) && !strcmp(word, "one"));
    CHECK(next_word(file, word) && !strcmp(word, "two"));
    CHECK(!next_word(file, word));
    fclose(file);
    return failures != 0;
}
