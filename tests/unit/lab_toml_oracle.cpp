/*
 * Our TOML reader against toml++: both must accept or both must refuse each file of
 * tests/unit/toml, as its name says (good-*, bad-*), and where they accept, the values must be the
 * same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <toml++/toml.h>

extern "C" {
#include <cmocka.h>

#include "base/err.h"
#include "lab/toml.h"
}

namespace
{

/* Dates are kept as text by ours; this is the one spelling that toml++ prints. */
std::string plain_date(std::string text)
{
	if (text.size() > 10 && (text[10] == 't' || text[10] == ' '))
		text[10] = 'T';
	std::replace(text.begin(), text.end(), 'z', 'Z');
	size_t dot = text.find('.');
	if (dot == std::string::npos)
		return text;
	size_t end = text.find_first_not_of("0123456789", dot + 1);
	std::string fraction = text.substr(dot, end == std::string::npos ? end : end - dot);
	std::string rest = end == std::string::npos ? "" : text.substr(end);
	while (fraction.back() == '0' || fraction.back() == '.') {
		bool was_dot = fraction.back() == '.';
		fraction.pop_back();
		if (was_dot)
			break;
	}
	return text.substr(0, dot) + fraction + rest;
}

/* Where the two differ, as a path with both values, or "". */
std::string difference(
    const pv_toml_value *ours, const toml::node &theirs, const std::string &path);

std::string difference_of_tables(
    const pv_toml_value *ours, const toml::table &theirs, const std::string &path)
{
	if (ours->u.table.count != theirs.size())
		return path + ": " + std::to_string(ours->u.table.count) + " keys, not " +
		       std::to_string(theirs.size());
	for (size_t i = 0; i < ours->u.table.count; i++) {
		const pv_toml_member &member = ours->u.table.members[i];
		const toml::node *node = theirs.get(member.key);
		if (!node)
			return path + ": key `" + member.key + "` is ours alone";
		std::string found = difference(member.value, *node, path + "/" + member.key);
		if (!found.empty())
			return found;
	}
	return "";
}

std::string difference_of_arrays(
    const pv_toml_value *ours, const toml::array &theirs, const std::string &path)
{
	if (ours->u.array.count != theirs.size())
		return path + ": " + std::to_string(ours->u.array.count) + " items, not " +
		       std::to_string(theirs.size());
	for (size_t i = 0; i < ours->u.array.count; i++) {
		std::string found =
		    difference(ours->u.array.items[i], theirs[i], path + "/" + std::to_string(i));
		if (!found.empty())
			return found;
	}
	return "";
}

bool same_number(double a, double b)
{
	return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

std::string difference(const pv_toml_value *ours, const toml::node &theirs, const std::string &path)
{
	std::string kind = path + ": ours is " + pv_toml_type_name(ours->type);
	std::ostringstream printed;
	switch (ours->type) {
	case PV_TOML_STRING:
		if (!theirs.is_string())
			return kind;
		return theirs.as_string()->get() ==
			       std::string(ours->u.string.text, ours->u.string.len)
			   ? ""
			   : path + ": other text";
	case PV_TOML_INTEGER:
		if (!theirs.is_integer())
			return kind;
		return theirs.as_integer()->get() == ours->u.integer ? ""
								     : path + ": other integer";
	case PV_TOML_FLOAT:
		if (!theirs.is_floating_point())
			return kind;
		return same_number(theirs.as_floating_point()->get(), ours->u.number)
			   ? ""
			   : path + ": other number";
	case PV_TOML_BOOLEAN:
		if (!theirs.is_boolean())
			return kind;
		return theirs.as_boolean()->get() == ours->u.boolean ? ""
								     : path + ": other boolean";
	case PV_TOML_DATETIME:
		if (theirs.is_date())
			printed << theirs.as_date()->get();
		else if (theirs.is_time())
			printed << theirs.as_time()->get();
		else if (theirs.is_date_time())
			printed << theirs.as_date_time()->get();
		else
			return kind;
		return plain_date(printed.str()) == plain_date(ours->u.string.text)
			   ? ""
			   : path + ": " + ours->u.string.text + " is " + printed.str();
	case PV_TOML_ARRAY:
		return theirs.is_array() ? difference_of_arrays(ours, *theirs.as_array(), path)
					 : kind;
	case PV_TOML_TABLE:
		return theirs.is_table() ? difference_of_tables(ours, *theirs.as_table(), path)
					 : kind;
	}
	return kind;
}

/* What is wrong with one file, or "". */
std::string compare(const std::string &text, bool good)
{
	pv_err err = {};
	pv_toml_value *ours = nullptr;
	bool accepted = pv_toml_parse(&ours, text.data(), text.size(), &err) == 0;
	std::string wrong;
	try {
		toml::table theirs = toml::parse(std::string_view(text));
		if (!good)
			wrong = "toml++ accepts it";
		else if (accepted)
			wrong = difference(ours, theirs, "");
	} catch (const toml::parse_error &error) {
		if (good)
			wrong =
			    std::string("toml++ refuses it: ") + std::string(error.description());
	}
	if (accepted != good)
		wrong = accepted ? "ours accepts it" : std::string("ours refuses it: ") + err.text;
	pv_toml_destroy(ours);
	return wrong;
}

void both_readers_agree(void **state)
{
	std::vector<std::filesystem::path> files;
	for (const auto &entry : std::filesystem::directory_iterator(PV_TOML_CORPUS))
		files.push_back(entry.path());
	std::sort(files.begin(), files.end());
	unsigned failed = 0;
	for (const auto &path : files) {
		std::ifstream file(path, std::ios::binary);
		std::string text(
		    (std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
		std::string wrong = compare(text, path.filename().string().rfind("good-", 0) == 0);
		if (wrong.empty())
			continue;
		failed++;
		print_message("%s: %s\n", path.filename().c_str(), wrong.c_str());
	}
	assert_int_equal(failed, 0);
	assert_true(files.size() >= 150);
}

} // namespace

int main()
{
	const CMUnitTest tests[] = {
	    cmocka_unit_test(both_readers_agree),
	};
	return cmocka_run_group_tests(tests, nullptr, nullptr);
}
