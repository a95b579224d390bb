-- What the page's example expects under this name. Its guest has descriptors in the kernel; ours gets them as files in /run/descriptors.
local h = {
	SID_SYSTEM = "S-1-5-18", SID_EVERYONE = "S-1-1-0", FILE_ALL_ACCESS = "FA",
	OWNER_SECURITY_INFORMATION = 1, GROUP_SECURITY_INFORMATION = 2, DACL_SECURITY_INFORMATION = 4,
}

function h.build_allow_ace(access, sid) return "(A;;" .. access .. ";;;" .. sid .. ")" end
function h.build_acl(entries) return table.concat(entries) end
function h.build_sd(owner, group, acl) return owner .. " " .. group .. " " .. acl end

function h.set_sd(vm, path, descriptor, information)
	local folder = "/run/descriptors" .. path
	assert(vm:exec("mkdir -p " .. folder).ok)
	vm:write_file(folder .. "/descriptor", descriptor .. " " .. information .. "\n")
end

return h
