-- The example of the page "What is Provium", as written there.

-- example
test("guest can ping its bridge peer", {skip = "bridges are not there yet"}, function(t)
	local lan = provium:bridge("lan")
	local a = provium:vm("a", "peios"):boot()
	local b = provium:vm("b", "peios"):boot()
	lan:attach({a, b})
	local r = a:run("ping -c 1 -W 1 b.lan")
	r:assert_ok()
end)
-- end
